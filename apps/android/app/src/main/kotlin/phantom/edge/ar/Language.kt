package phantom.edge.ar

import android.content.Context
import phantom.edge.ar.core.Phrase

/** Lets the app speak the language that the user has chosen for it, or for the phone. */
internal fun speakAs(context: Context) {
    val app = context.applicationContext // outlives every screen, as the phrases do
    Phrase.use { app.getString(resource(it)) }
}

/** Written out, so that the compiler misses none and the shrinker of resources keeps all. */
private fun resource(phrase: Phrase): Int =
    when (phrase) {
        Phrase.AIM_AT_PIN -> R.string.say_aim_at_pin
        Phrase.ANSWERING -> R.string.say_answering
        Phrase.BUILD_AGAIN -> R.string.say_build_again
        Phrase.CAMERA_ALLOW -> R.string.say_camera_allow
        Phrase.CAMERA_IN_USE -> R.string.say_camera_in_use
        Phrase.CAMERA_MISSING -> R.string.say_camera_missing
        Phrase.CAMERA_SHUT -> R.string.say_camera_shut
        Phrase.CAMERA_TAKEN -> R.string.say_camera_taken
        Phrase.COOLING -> R.string.say_cooling
        Phrase.FACT_MODEL -> R.string.say_fact_model
        Phrase.FACT_PIXELS -> R.string.say_fact_pixels
        Phrase.FACT_READY_AFTER -> R.string.say_fact_ready_after
        Phrase.FACT_RUNS_ON -> R.string.say_fact_runs_on
        Phrase.FACT_SEES -> R.string.say_fact_sees
        Phrase.FAST -> R.string.say_fast
        Phrase.FETCHING -> R.string.say_fetching
        Phrase.FETCHING_NPU -> R.string.say_fetching_npu
        Phrase.FINE -> R.string.say_fine
        Phrase.LOADING -> R.string.say_loading
        Phrase.LOADING_MODEL -> R.string.say_loading_model
        Phrase.LOADING_PART -> R.string.say_loading_part
        Phrase.LOOKING -> R.string.say_looking
        Phrase.MEDIUM -> R.string.say_medium
        Phrase.MEMORY_FULL -> R.string.say_memory_full
        Phrase.MODEL_READY -> R.string.say_model_ready
        Phrase.NO_ANSWER -> R.string.say_no_answer
        Phrase.NO_NPU_PART -> R.string.say_no_npu_part
        Phrase.NOT_SURE -> R.string.say_not_sure
        Phrase.OVER -> R.string.say_over
        Phrase.PAUSED -> R.string.say_paused
        Phrase.PAUSED_HELD -> R.string.say_paused_held
        Phrase.PERHAPS -> R.string.say_perhaps
        Phrase.PICTURE -> R.string.say_picture
        Phrase.PICTURE_UNREADABLE -> R.string.say_picture_unreadable
        Phrase.PREPARING -> R.string.say_preparing
        Phrase.REACH_SHARE -> R.string.say_reach_share
        Phrase.REACH_WHOLE -> R.string.say_reach_whole
        Phrase.READY -> R.string.say_ready
        Phrase.RESUMED -> R.string.say_resumed
        Phrase.SELF_TEST -> R.string.say_self_test
        Phrase.STOPPED -> R.string.say_stopped
        Phrase.SURE -> R.string.say_sure
        Phrase.TAP_SURFACE -> R.string.say_tap_surface
        Phrase.TITLE_AR -> R.string.say_title_ar
        Phrase.TITLE_CAMERA_BUSY -> R.string.say_title_camera_busy
        Phrase.TITLE_CAMERA_REFUSED -> R.string.say_title_camera_refused
        Phrase.TITLE_MEMORY -> R.string.say_title_memory
        Phrase.TITLE_MODEL -> R.string.say_title_model
        Phrase.TITLE_NETWORK -> R.string.say_title_network
        Phrase.TITLE_NO_CAMERA -> R.string.say_title_no_camera
        Phrase.TITLE_PICTURE -> R.string.say_title_picture
        Phrase.TITLE_QUESTION -> R.string.say_title_question
        Phrase.TITLE_RUNS -> R.string.say_title_runs
        Phrase.TITLE_STORAGE -> R.string.say_title_storage
        Phrase.UNDER -> R.string.say_under
        Phrase.UNPACKING -> R.string.say_unpacking
        Phrase.WARM -> R.string.say_warm
    }
