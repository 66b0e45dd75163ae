package phantom.edge.core

/** What can go wrong: one line that says what it is and how to mend it. */
sealed class PhantomEdgeException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** The bundle is missing, damaged, or of a kind that this library does not read. */
class BundleException(message: String, cause: Throwable? = null) : PhantomEdgeException(message, cause)

/** A question, a picture or an option that cannot be answered. */
class InputException(message: String) : PhantomEdgeException(message)

/** The model needs more memory, in bytes, than the system gives to this app now. */
class MemoryException(val needed: Long, val available: Long) :
    PhantomEdgeException(
        "the model needs ${needed shr 20} MiB, ${available shr 20} MiB are free: " +
            "close other models, or export with a smaller context or fewer bits",
    )

/** A bundle's file could not be fetched. Another try goes on where this one ended. */
class TransferException(message: String, cause: Throwable? = null) : PhantomEdgeException(message, cause)

/** A bundle cannot be written: no room, or no folder of the app's own. */
class StorageException(message: String, cause: Throwable? = null) : PhantomEdgeException(message, cause)

/** The platform's runtime refused to load or run a graph. */
class BackendException(message: String, cause: Throwable? = null) : PhantomEdgeException(message, cause)
