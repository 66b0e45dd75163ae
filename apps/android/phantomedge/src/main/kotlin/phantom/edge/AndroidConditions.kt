package phantom.edge

import android.app.ActivityManager
import android.content.Context
import android.os.Build
import android.os.PowerManager
import phantom.edge.core.DeviceConditions
import phantom.edge.core.ThermalLevel

/** The device's own word on its temperature (Android 10 and later) and on the memory that is left. */
class AndroidConditions(context: Context) : DeviceConditions {
    private val power = context.getSystemService(PowerManager::class.java)
    private val activities = context.getSystemService(ActivityManager::class.java)

    override val thermal: ThermalLevel
        get() {
            if (Build.VERSION.SDK_INT < Build.VERSION_CODES.Q) return ThermalLevel.NOMINAL
            val status = power.currentThermalStatus
            return when {
                status >= PowerManager.THERMAL_STATUS_CRITICAL -> ThermalLevel.CRITICAL
                status >= PowerManager.THERMAL_STATUS_SEVERE -> ThermalLevel.SERIOUS
                status >= PowerManager.THERMAL_STATUS_LIGHT -> ThermalLevel.FAIR
                else -> ThermalLevel.NOMINAL
            }
        }

    /** What the system has left before it begins to end processes. */
    override val availableMemory: Long
        get() = ActivityManager.MemoryInfo().also(activities::getMemoryInfo).let { it.availMem - it.threshold }
}
