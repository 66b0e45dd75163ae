package android.content.pm

class ApplicationInfo {
    @JvmField val nativeLibraryDir: String = System.getProperty("android.libraries")
}
