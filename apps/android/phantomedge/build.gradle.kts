// A library module of the app's own project, which chooses the versions of the Android and Kotlin plugins. From version 9 on
// Android's plugin compiles Kotlin by itself; an app with an older one adds id("org.jetbrains.kotlin.android") here.
plugins { id("com.android.library") }

android {
    namespace = "phantom.edge"
    compileSdk = 36

    defaultConfig {
        minSdk = 26
        consumerProguardFiles("consumer-rules.pro")
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    testOptions.unitTests.all { it.environment("PHANTOM_EDGE_VECTORS", System.getenv("PHANTOM_EDGE_VECTORS") ?: "") }
}

kotlin { jvmToolchain(17) }

dependencies {
    // The release that the toolkit writes .pte files with: a test keeps the two equal.
    implementation("org.pytorch:executorch-android:1.5.1")
    // An app with a part for the NPU links it, with com.qualcomm.qti:onnxruntime-android-qnn and :qnn-runtime beside it.
    compileOnly("com.microsoft.onnxruntime:onnxruntime-android:1.27.0")
    api("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.11.0")
    testImplementation("junit:junit:4.13.2")
    testImplementation(kotlin("test-junit"))
}
