package phantom.edge.ar.core

import kotlin.test.assertTrue
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.cancelChildren
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import phantom.edge.core.DeviceConditions
import phantom.edge.core.Form
import phantom.edge.core.RgbImage
import phantom.edge.core.ThermalLevel

val CONFIG = AppConfig("Test", listOf("What is it?", "How many?").map { Preset(it) }, 11)

/** A source whose pictures are as wide as they are many. */
class Pictures(override val kind: SourceKind = SourceKind.CAMERA) : PictureSource {
    override var hint: String? = null
    override var reach = Reach.of()
    var isEmpty = false
    var taken = 0
    var isClosed = false
    val labels = ArrayList<LabelText>()
    private var frozen: Frame? = null

    override suspend fun grab(): Frame? {
        if (isEmpty) return null
        return frozen ?: frame(++taken)
    }

    override fun freeze() {
        frozen = frame(99)
    }

    override fun thaw() {
        frozen = null
    }

    override fun show(label: LabelText) {
        labels += label
    }

    override fun close() {
        isClosed = true
    }

    private fun frame(width: Int) = Frame(RgbImage(width, 1, ByteArray(3 * width)))
}

/** A phone whose temperature a test sets. */
class Weather(override var thermal: ThermalLevel = ThermalLevel.NOMINAL) : DeviceConditions {
    override val availableMemory: Long? = null
}

/** An engine that fails, or waits until it is cancelled. */
class Stuck(private val error: Throwable? = null) : Engine {
    override val facts = emptyList<Fact>()
    override val tileSizes = listOf(448)
    var isClosed = false

    override suspend fun ask(
        frame: Frame,
        question: String,
        form: Form?,
        maxTokens: Int,
        onText: suspend (String, Speed) -> Unit,
    ): Answer {
        error?.let { throw it }
        delay(60_000)
        error("not cancelled")
    }

    override suspend fun useTiles(size: Int) = throw error ?: IllegalStateException("no")

    override suspend fun selfTest(): List<CheckRow> = throw error ?: IllegalStateException("no")

    override suspend fun trim() = Unit

    override suspend fun close() {
        isClosed = true
    }
}

fun CoroutineScope.model(weather: Weather = Weather(), engine: Engine = FakeEngine(1)) =
    AppModel(CONFIG, weather, this, { 12_000_000 }) { onStep ->
        onStep(LoadingStep("Loading the model", 0.5))
        engine
    }

/** Runs on one thread, and ends what is still going on there. */
fun onOneThread(test: suspend CoroutineScope.() -> Unit) = runBlocking {
    test()
    coroutineContext.cancelChildren()
}

suspend fun eventually(what: String, holds: () -> Boolean) {
    repeat(500) { if (!holds()) delay(10) }
    assertTrue(holds(), what)
}
