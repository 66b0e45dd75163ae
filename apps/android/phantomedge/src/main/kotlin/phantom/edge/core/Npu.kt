package phantom.edge.core

/** A graph that runs on an NPU, by its name in a manifest. */
enum class NpuGraph(val key: String) {
    VISION_ENCODER("vision_encoder"),
    PREFILL("prefill"),
    DECODE("decode"),
}

/** What a bundle's manifest says about the NPU of a Snapdragon; see docs/bundle.md. */
class Npu internal constructor(npu: Fields) {
    /** Graphs that were compiled for one chip: its Hexagon version, Qualcomm's number of it, and the files. */
    class Compiled internal constructor(chip: Fields) {
        val architecture: Int = chip.size("architecture")
        val model: Int = chip.size("model")
        val graphs: Map<NpuGraph, String> = graphs(chip.texts("graphs"))
    }

    /** Uncompiled graphs: the vision encoder, and where the NPU decodes too, both graphs of the decoder. */
    val graphs: Map<NpuGraph, String> = graphs(npu.texts("graphs"))

    /** What the vision encoder's values are rounded to: `uint16` or `fp16`. */
    val activations: String = npu.text("activations")

    /** Hexagon versions that take [graphs] whole. */
    val architectures: List<Int> = npu.wholes("architectures")

    /** Options of the QNN provider with which the graphs were verified. */
    val options: Map<String, String> = npu.texts("options")

    /** By the chip's name as `Build.SOC_MODEL` has it. */
    val compiled: Map<String, Compiled> = npu.entries("compiled").mapValues { (_, chip) -> Compiled(chip) }

    private companion object {
        /** Files by graph. A decoder has two graphs or none; names that this library does not know are left out. */
        fun graphs(files: Map<String, String>): Map<NpuGraph, String> {
            val graphs = NpuGraph.entries.mapNotNull { graph -> files[graph.key]?.let { graph to it } }.toMap()
            if (NpuGraph.VISION_ENCODER !in graphs || (NpuGraph.PREFILL in graphs) != (NpuGraph.DECODE in graphs)) {
                throw BundleException("${ModelBundle.MANIFEST}: npu lacks a graph: export the bundle again")
            }
            graphs.values.firstOrNull { !Manifest.isInside(it) }?.let {
                throw BundleException("${ModelBundle.MANIFEST} names $it, which lies outside the bundle: do not use it")
            }
            return graphs
        }
    }
}

/** Which of a bundle's files serve one phone's NPU. */
class NpuPlan private constructor(
    val manifest: Manifest,
    val chip: String,
    val graphs: Map<NpuGraph, String>,
    /** Whether they were compiled for this chip; if not, the phone compiles them once. */
    val isCompiled: Boolean,
) {
    /** Whether the decoder runs on the NPU, too. */
    val decodes: Boolean
        get() = NpuGraph.DECODE in graphs

    /**
     * Paths of all files that the plan needs: those that lie in a folder with one of its graphs (weights and context
     * binaries lie beside them) and belong to no graph for a CPU, the tokenizer and the golden file.
     */
    val files: Set<String>
        get() {
            val folders = graphs.values.map { it.substringBeforeLast('/', "") }.toSet()
            val others = manifest.graphs.values - graphs.values.toSet()
            val beside =
                manifest.files.keys.filter { path ->
                    path.substringBeforeLast('/', "") in folders && others.none { path.startsWith(it) }
                }
            return beside.toSet() + ModelBundle.TOKENIZER + ModelBundle.GOLDEN
        }

    /** Bytes of the files that hold the graphs. */
    val graphBytes: Long
        get() = (files - ModelBundle.TOKENIZER - ModelBundle.GOLDEN).sumOf { manifest.files[it]?.bytes ?: 0 }

    companion object {
        /**
         * The plan for a chip ([chip] as `Build.SOC_MODEL` has it, null where the system does not say): compiled files
         * if there are some, else the uncompiled ones if its Hexagon version takes them.
         *
         * Throws [BackendException] with the reason when the NPU part has nothing for this phone.
         */
        fun of(manifest: Manifest, chip: String?): NpuPlan {
            val npu = manifest.npu ?: throw BackendException("the bundle holds nothing for an NPU")
            if (chip == null) throw BackendException("this system does not say which chip it runs on")
            val name = HexagonChips.base(chip)
            npu.compiled[name]?.let { return NpuPlan(manifest, name, it.graphs, true) }
            val architecture = HexagonChips.ARCHITECTURES[name]
            if (architecture !in npu.architectures) {
                val known = npu.compiled.keys.sorted().joinToString(", ").ifEmpty { "no chip" }
                throw BackendException("this phone's chip $name has no NPU part: it was compiled for $known")
            }
            return NpuPlan(manifest, name, npu.graphs, false)
        }
    }
}

/** Hexagon versions of Qualcomm's chips by `Build.SOC_MODEL`; a test holds them to the Python package's table. */
object HexagonChips {
    val ARCHITECTURES: Map<String, Int> =
        mapOf(
            "SM8350" to 68, "QCM6490" to 68, "SM8450" to 69, "SM8475" to 69, "SM8550" to 73, "QCS9100" to 73,
            "SM8650" to 75, "SM8750" to 79, "SXR2330P" to 79, "SM8850" to 81, "SM8845" to 81,
        )

    /** The chip without the suffix of its speed grade: `SM8650-AC` is an `SM8650` with a faster clock. */
    internal fun base(chip: String): String = chip.trim().uppercase().substringBefore('-')
}
