// Versions of the plugins, for all modules: gradle/libs.versions.toml. Android's plugin compiles Kotlin by itself; Kotlin's is
// named only so that its version is the catalogue's.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.android.library) apply false
    alias(libs.plugins.android.asset.pack) apply false
    alias(libs.plugins.kotlin.android) apply false
}
