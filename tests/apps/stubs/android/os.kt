package android.os

object Build {
    @JvmField val SOC_MODEL: String = "SM8650"

    @JvmField val FINGERPRINT: String = ""

    object VERSION {
        @JvmField val SDK_INT: Int = 35
    }

    object VERSION_CODES {
        const val Q = 29
        const val S = 31
    }
}

class Bundle

class BatteryManager {
    fun getLongProperty(id: Int): Long = TODO()

    companion object {
        const val BATTERY_PROPERTY_CHARGE_COUNTER = 1
        const val EXTRA_PLUGGED = "plugged"
        const val EXTRA_TEMPERATURE = "temperature"
        const val EXTRA_VOLTAGE = "voltage"
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
