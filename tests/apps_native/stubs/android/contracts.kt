// The parts of androidx.activity that are declared in Kotlin; see libraries.java.txt.
@file:Suppress("unused", "UNUSED_PARAMETER", "FunctionName")

package androidx.activity.result

import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia

class PickVisualMediaRequest internal constructor()

fun PickVisualMediaRequest(mediaType: PickVisualMedia.VisualMediaType): PickVisualMediaRequest = TODO()
