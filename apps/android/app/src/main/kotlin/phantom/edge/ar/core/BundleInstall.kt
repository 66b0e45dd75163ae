package phantom.edge.ar.core

import java.io.File
import phantom.edge.core.BundleException
import phantom.edge.core.BundleUpdate
import phantom.edge.core.FileSupply
import phantom.edge.core.Manifest
import phantom.edge.core.ModelBundle
import phantom.edge.core.StorageException
import phantom.edge.core.TransferException

/**
 * Brings a bundle into the app's own storage, because ExecuTorch maps a file and assets are none.
 *
 * [manifest] is the text of the bundle's `manifest.json`, which is part of the app, so whatever the files come from, each
 * is the one that was exported. What an earlier version of the app has brought is not brought again: see [BundleUpdate].
 * [names] chooses files of a bundle of which only a part is for this phone; others are removed.
 */
class BundleInstall(
    private val folder: File,
    private val manifest: ByteArray,
    private val supply: FileSupply,
    private val names: (Manifest) -> Set<String> = { it.files.keys },
) {
    /**
     * The complete bundle, or the part of it, brought now as far as it was not there. [onBytes] hears bytes done and bytes
     * in all, [check] is called often and may throw to cancel.
     *
     * Throws [Failure], and [BundleException] for a manifest that is none.
     */
    fun run(check: () -> Unit = {}, onBytes: (Long, Long) -> Unit = { _, _ -> }): ModelBundle {
        try {
            val update =
                try {
                    BundleUpdate(folder, manifest, supply, names)
                } catch (error: BundleException) { // of another format than what is there, or no manifest at all
                    folder.deleteRecursively()
                    BundleUpdate(folder, manifest, supply, names)
                }
            return fetched(update, check, onBytes)
        } catch (error: TransferException) {
            throw Failure.of(error)
        } catch (error: StorageException) {
            throw Failure.of(error)
        }
    }

    private fun fetched(update: BundleUpdate, check: () -> Unit, onBytes: (Long, Long) -> Unit): ModelBundle =
        try {
            update.run(verify = false, check, onBytes)
        } catch (error: BundleException) {
            throw Failure(Failure.Code.BUNDLE, Phrase.BUILD_AGAIN.text(Failure.sentence(error.message)))
        }
}
