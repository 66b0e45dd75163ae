package phantom.edge.ar

import java.io.File
import java.io.IOException

/** Bytes of this process in memory, the model's mapped file among them; 0 where the system does not say. */
fun residentMemory(): Long =
    try {
        val line = File("/proc/self/status").useLines { lines -> lines.firstOrNull { it.startsWith("VmRSS:") } }
        line?.filter { it.isDigit() }?.toLongOrNull()?.times(1024) ?: 0
    } catch (error: IOException) {
        0
    }
