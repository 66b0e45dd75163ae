// The part of Android's classes that the library uses, as declared at API level 35: enough to type-check it where there
// is no Android SDK. Nothing here runs.
@file:Suppress("unused", "UNUSED_PARAMETER")

package android.content

open class Context {
    open val applicationContext: Context get() = TODO()
    open val applicationInfo: android.content.pm.ApplicationInfo get() = TODO()
    open val cacheDir: java.io.File get() = TODO()
    open val noBackupFilesDir: java.io.File get() = TODO()

    open fun getExternalFilesDir(type: String?): java.io.File? = TODO()

    open fun registerReceiver(receiver: BroadcastReceiver?, filter: IntentFilter): Intent? = TODO()

    fun <T> getSystemService(kind: Class<T>): T = TODO()

    fun registerComponentCallbacks(callback: ComponentCallbacks): Unit = TODO()

    fun unregisterComponentCallbacks(callback: ComponentCallbacks): Unit = TODO()
}

abstract class BroadcastReceiver

class IntentFilter(action: String)

open class Intent {
    fun getStringExtra(name: String): String? = TODO()

    fun getIntExtra(name: String, otherwise: Int): Int = TODO()

    companion object {
        const val ACTION_BATTERY_CHANGED = "android.intent.action.BATTERY_CHANGED"
    }
}

interface ComponentCallbacks {
    fun onConfigurationChanged(configuration: android.content.res.Configuration)

    fun onLowMemory()
}

interface ComponentCallbacks2 : ComponentCallbacks {
    fun onTrimMemory(level: Int)

    companion object {
        const val TRIM_MEMORY_RUNNING_LOW = 10
    }
}

abstract class ContentResolver {
    fun openInputStream(uri: android.net.Uri): java.io.InputStream? = TODO()
}
