package phantom.edge

import android.app.Activity
import android.os.Bundle
import android.view.WindowManager
import android.widget.TextView
import java.io.File
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.thread
import kotlin.system.exitProcess
import phantom.edge.core.bench.Benchmark

/**
 * An app as a benchmark: `phantom-edge bench --device adb` starts it with the extra `folder`, in which a bundle and a
 * job lie, and reads `bench.jsonl` in the app's external files while it is written. Then the process ends.
 *
 * It goes by the name `.BenchActivity` of the app's own id. Only a holder of the permission DUMP may start it: adb's
 * shell is one, other apps are none.
 */
class BenchActivity : Activity() {
    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        val words = TextView(this)
        words.text = "phantom-edge bench"
        setContentView(words)
        // Once it is on the screen: adb's `am start -W` waits for that.
        words.post { if (!started.getAndSet(true)) thread(name = "phantom-edge") { measure() } }
    }

    private fun measure() {
        val folder = File(intent.getStringExtra("folder") ?: "")
        File(getExternalFilesDir(null), RESULT).bufferedWriter().use { result ->
            val benchmark = Benchmark(folder, cacheDir, AndroidBench(this)) { line ->
                result.write(line + "\n")
                result.flush()
            }
            benchmark.run()
        }
        finishAndRemoveTask()
        exitProcess(0)
    }

    private companion object {
        const val RESULT = "bench.jsonl"
        val started = AtomicBoolean()
    }
}
