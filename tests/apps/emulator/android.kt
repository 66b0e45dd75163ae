// What the library's NPU part uses of Android, as a desktop has it. Libraries lie where `android.libraries` says.
@file:Suppress("unused", "UNUSED_PARAMETER")

package android.content

class Context {
    val applicationContext: Context get() = this
    val applicationInfo = android.content.pm.ApplicationInfo()
}
