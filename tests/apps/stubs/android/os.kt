package android.os

object Build {
    object VERSION {
        @JvmField val SDK_INT: Int = 35
    }

    object VERSION_CODES {
        const val Q = 29
    }
}

class PowerManager {
    val currentThermalStatus: Int get() = TODO()

    companion object {
        const val THERMAL_STATUS_LIGHT = 1
        const val THERMAL_STATUS_SEVERE = 3
        const val THERMAL_STATUS_CRITICAL = 4
    }
}
