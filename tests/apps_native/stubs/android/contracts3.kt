@file:Suppress("unused", "UNUSED_PARAMETER", "UnusedReceiverParameter")

package androidx.activity

fun ComponentActivity.enableEdgeToEdge(statusBarStyle: SystemBarStyle, navigationBarStyle: SystemBarStyle) {}
