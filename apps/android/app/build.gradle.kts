plugins {
    alias(libs.plugins.android.application)
}

fun setting(name: String): String = providers.gradleProperty("phantom.$name").getOrElse("")

// Whether the app has a part for the NPU: ONNX Runtime and Qualcomm's libraries are linked only then.
val hasNpu = setting("npu") == "true"

android {
    namespace = "phantom.edge.ar"
    compileSdk = 36

    defaultConfig {
        applicationId = setting("applicationId")
        minSdk = 26
        if (hasNpu) minSdk = 27 // of the QNN provider's library
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        buildConfigField("String", "MODEL_URL", "\"${setting("modelUrl")}\"")
        buildConfigField("String", "NPU_URL", "\"${setting("npuUrl")}\"")
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
        // ExecuTorch's library has these two, ONNX Runtime's too; Qualcomm's are for arm64-v8a alone.
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    buildTypes {
        release {
            isMinifyEnabled = true
            isShrinkResources = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
        }
    }

    // An app bundle (.aab) takes the model from the asset pack. Asset packs are not part of an .apk, so the debug build,
    // which is what `installDebug` and Android Studio put on a phone, has the same files among its own assets.
    if (setting("modelUrl").isEmpty() || (hasNpu && setting("npuUrl").isEmpty())) assetPacks += ":model"
    sourceSets["debug"].assets.directories += "../model/src/main/assets"

    // Compressed files would have to be unpacked twice.
    androidResources { noCompress += listOf("pte", "safetensors", "onnx", "bin", "data") }

    buildFeatures { buildConfig = true }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    // Left in the package, native libraries are mapped from it on pages of 16 KB. The DSP opens its half of Qualcomm's
    // libraries by their path, so with them they have to be unpacked at the installation.
    packaging {
        jniLibs.useLegacyPackaging = hasNpu
        // Libraries of several makers may each bring it; one is enough.
        if (hasNpu) jniLibs.pickFirsts += "**/libc++_shared.so"
    }

    testOptions.unitTests.all {
        it.environment("PHANTOM_EDGE_BUNDLE", System.getenv("PHANTOM_EDGE_BUNDLE") ?: "")
    }
}

kotlin { jvmToolchain(17) }

dependencies {
    implementation(project(":phantomedge"))
    implementation(libs.activity)
    implementation(libs.arcore)
    implementation(libs.camera.camera2)
    implementation(libs.camera.lifecycle)
    implementation(libs.camera.view)
    implementation(libs.core)
    implementation(libs.coroutines)
    implementation(libs.lifecycle)
    if (hasNpu) {
        implementation(libs.onnxruntime.core)
        implementation(libs.onnxruntime.qnn)
        implementation(libs.qnn.runtime)
    }
    testImplementation(libs.junit)
    testImplementation(libs.kotlin.test)
    androidTestImplementation(libs.espresso)
    androidTestImplementation(libs.test.junit)
    androidTestImplementation(libs.test.runner)
}
