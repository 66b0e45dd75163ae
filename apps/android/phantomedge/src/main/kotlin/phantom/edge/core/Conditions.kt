package phantom.edge.core

/** How warm a device is. Android's seven steps are four here, as on iOS. */
enum class ThermalLevel {
    NOMINAL,
    FAIR,
    SERIOUS,
    CRITICAL,
}

/** What a session asks the device before each step. */
interface DeviceConditions {
    val thermal: ThermalLevel

    /** Bytes that this app may still take; null where the system does not say. */
    val availableMemory: Long?

    /** A device that never warms up and never runs out: for tests and servers. */
    object Unlimited : DeviceConditions {
        override val thermal = ThermalLevel.NOMINAL
        override val availableMemory: Long? = null
    }
}

/**
 * What a session does when the device is warm. It never changes what is computed, only when.
 *
 * [pauses] are milliseconds before each call of a graph, by level. From [stopsAt] on an answer ends early
 * ([StopReason.THERMAL]) and no new one begins.
 */
class Pacing(
    val pauses: Map<ThermalLevel, Long> = mapOf(ThermalLevel.SERIOUS to 50, ThermalLevel.CRITICAL to 250),
    val stopsAt: ThermalLevel? = null,
) {
    companion object {
        /** As fast as the device goes. */
        val UNPACED = Pacing(emptyMap())
    }
}
