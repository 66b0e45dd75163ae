package phantom.edge

import android.app.Activity
import android.content.Intent
import android.content.IntentFilter
import android.content.pm.ApplicationInfo
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.os.BatteryManager
import java.io.File
import org.pytorch.executorch.Module
import phantom.edge.core.Backend
import phantom.edge.core.BackendException
import phantom.edge.core.Graph
import phantom.edge.core.InputException
import phantom.edge.core.ModelBundle
import phantom.edge.core.RgbImage
import phantom.edge.core.bench.BenchBattery
import phantom.edge.core.bench.BenchPlatform

/** ExecuTorch and this phone under a benchmark. */
internal class AndroidBench(private val activity: Activity) : BenchPlatform {
    override val conditions = AndroidConditions(activity)
    override val runtime = mapOf("version" to EXECUTORCH)
    override val notes: List<String>
        get() {
            val debug = activity.applicationInfo.flags and ApplicationInfo.FLAG_DEBUGGABLE != 0
            val slow = "the app is a debug build: preprocessing, which is Kotlin, takes longer than in a release"
            return listOf("temperature is the battery's") + if (debug) listOf(slow) else emptyList()
        }

    /** The class loads the library when it is first used. */
    override fun prepare() {
        Class.forName(Module::class.java.name)
    }

    override fun backend(bundle: ModelBundle, threads: Int?): Backend =
        ExecuTorchBackend(bundle, threads ?: 0).also { it.prepare() }

    override fun npuBackend(npu: ModelBundle, bundle: ModelBundle, threads: Int?): Backend {
        val npus = Npus(activity.applicationContext)
        val plan = npus.plan(npu.manifest)
        val cpu = ExecuTorchBackend(bundle, threads ?: 0)
        return try {
            cpu.prepare(if (plan.decodes) listOf(Graph.TOKEN_EMBEDDING) else Graph.entries - Graph.VISION_ENCODER)
            npus.backend(npu, plan, bundle.manifest, cpu)
        } catch (error: Throwable) {
            cpu.close()
            throw error
        }
    }

    override fun write(picture: RgbImage, file: File) {
        fun value(place: Int): Int = picture.pixels[place].toInt() and 0xFF
        val colours =
            IntArray(picture.width * picture.height) { place ->
                (0 until 3).fold(0xFF) { colour, channel -> colour shl 8 or value(3 * place + channel) }
            }
        val bitmap = Bitmap.createBitmap(colours, picture.width, picture.height, Bitmap.Config.ARGB_8888)
        bitmap.setHasAlpha(false)
        val written = file.outputStream().use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
        if (!written) throw BackendException("the golden picture cannot be written: free some space")
    }

    override fun picture(file: File): RgbImage {
        val bitmap = file.inputStream().use { BitmapFactory.decodeStream(it, null, null) }
        return RgbImage.of(bitmap ?: throw InputException("${file.name} is no picture that can be read"))
    }

    /** What the kernel counts as resident, files that are mapped included. */
    override fun peakMemory(): Long? {
        val line = File("/proc/self/status").useLines { lines -> lines.firstOrNull { it.startsWith("VmHWM:") } }
        return line?.filter(Char::isDigit)?.toLongOrNull()?.times(1024)
    }

    override fun temperature(): Double? {
        val tenths = charging()?.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, 0) ?: 0
        return if (tenths > 0) tenths / 10.0 else null
    }

    override fun battery(): BenchBattery? {
        val battery = charging() ?: return null
        val charge =
            activity.getSystemService(BatteryManager::class.java)
                .getLongProperty(BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER)
        val millivolts = battery.getIntExtra(BatteryManager.EXTRA_VOLTAGE, 0)
        if (charge <= 0 || millivolts <= 0) return null // this phone does not count
        val powered = battery.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0
        return BenchBattery(powered, charge.toDouble(), millivolts / 1000.0)
    }

    /** What the system last said about the battery. */
    private fun charging(): Intent? = activity.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))

    private companion object {
        const val EXECUTORCH = "1.5.1" // the release of build.gradle.kts
    }
}
