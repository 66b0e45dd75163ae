package phantom.edge.ar.core

import phantom.edge.core.ThermalLevel

/** How the app backs off while the phone is warm. `Pacing` slows one answer; this spaces them out. */
object CoolDown {
    /**
     * Milliseconds between an answer and the next look; null from the level on at which nothing is asked until the phone
     * has cooled.
     */
    fun rest(level: ThermalLevel): Long? =
        when (level) {
            ThermalLevel.NOMINAL -> 500
            ThermalLevel.FAIR -> 1000
            ThermalLevel.SERIOUS -> 4000
            ThermalLevel.CRITICAL -> null
        }

    /** What the state pill says; null while there is nothing to say. */
    fun words(level: ThermalLevel): String? =
        when (level) {
            ThermalLevel.NOMINAL, ThermalLevel.FAIR -> null
            ThermalLevel.SERIOUS -> Phrase.WARM.text()
            ThermalLevel.CRITICAL -> Phrase.COOLING.text()
        }
}
