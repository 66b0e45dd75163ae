package phantom.edge.core.bench

import java.io.File
import phantom.edge.core.Backend
import phantom.edge.core.DeviceConditions
import phantom.edge.core.ModelBundle
import phantom.edge.core.RgbImage

/** What a benchmark asks of the system that it runs on. */
interface BenchPlatform {
    /** What a session asks before each call. */
    val conditions: DeviceConditions

    /** Name and version of the runtime, as facts for the report. */
    val runtime: Map<String, String>

    /** What a reader of the numbers has to know. */
    val notes: List<String>

    /** Loads the runtime's own libraries, before loading a model is timed. */
    fun prepare()

    /** A backend with all graphs loaded. [threads] null leaves their number to the runtime. */
    fun backend(bundle: ModelBundle, threads: Int?): Backend

    /**
     * A backend whose graphs of [npu] are loaded on this device's NPU, beside [bundle] on the CPU. Throws
     * [phantom.edge.core.BackendException] where it has none that takes them.
     */
    fun npuBackend(npu: ModelBundle, bundle: ModelBundle, threads: Int?): Backend

    /** Writes a picture as a compressed file without loss, as [picture] reads it. */
    fun write(picture: RgbImage, file: File)

    /** Reads and decodes a picture's file. */
    fun picture(file: File): RgbImage

    /** The most bytes that this process has had at once; null where the system does not say. */
    fun peakMemory(): Long?

    /** Degrees Celsius of whatever the system tells; null where it tells none. */
    fun temperature(): Double?

    /** The battery's state; null where the system does not count its charge. */
    fun battery(): BenchBattery?
}

/** A battery at one moment: whether it is charged, microampere hours that it holds, and volts. */
class BenchBattery(val powered: Boolean, val charge: Double, val volts: Double)
