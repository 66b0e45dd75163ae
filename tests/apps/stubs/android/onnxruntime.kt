// The part of ONNX Runtime 1.24's and later Java API that the library uses, to type-check it where there is no AAR.
// Nothing here runs.
@file:Suppress("unused", "UNUSED_PARAMETER")

package ai.onnxruntime

class OrtException(message: String?) : Exception(message)

enum class OnnxJavaType {
    FLOAT,
    FLOAT16,
    INT8,
    INT32,
}

class OrtEpDevice private constructor() {
    val epName: String get() = TODO()
}

class OrtEnvironment private constructor() : AutoCloseable {
    val version: String get() = TODO()
    val epDevices: List<OrtEpDevice> get() = TODO()

    @Throws(OrtException::class)
    fun setTelemetry(sendTelemetry: Boolean): Unit = TODO()

    @Throws(OrtException::class)
    fun registerExecutionProviderLibrary(registrationName: String?, libraryPath: String?): Unit = TODO()

    @Throws(OrtException::class)
    fun createSession(modelPath: String?, options: OrtSession.SessionOptions?): OrtSession = TODO()

    override fun close(): Unit = TODO()

    companion object {
        @JvmStatic
        fun getEnvironment(): OrtEnvironment = TODO()
    }
}

interface OnnxValue : AutoCloseable {
    override fun close()
}

abstract class OnnxTensorLike : OnnxValue

class OnnxTensor private constructor() : OnnxTensorLike() {
    override fun close(): Unit = TODO()

    companion object {
        @JvmStatic
        @Throws(OrtException::class)
        fun createTensor(
            env: OrtEnvironment?,
            data: java.nio.ByteBuffer?,
            shape: LongArray?,
            type: OnnxJavaType?,
        ): OnnxTensor = TODO()
    }
}

class OrtSession private constructor() : AutoCloseable {
    val inputNames: Set<String> get() = TODO()
    val outputNames: Set<String> get() = TODO()

    @Throws(OrtException::class)
    fun run(
        inputs: Map<String, OnnxTensorLike>,
        requestedOutputs: Set<String>,
        pinnedOutputs: Map<String, OnnxValue>,
    ): Result = TODO()

    @Throws(OrtException::class)
    override fun close(): Unit = TODO()

    class SessionOptions : AutoCloseable {
        @Throws(OrtException::class)
        fun addConfigEntry(configKey: String?, configValue: String?): Unit = TODO()

        @Throws(OrtException::class)
        fun addExecutionProvider(devices: List<OrtEpDevice>, providerOptions: Map<String, String>): Unit = TODO()

        override fun close(): Unit = TODO()
    }

    class Result private constructor() : AutoCloseable {
        override fun close(): Unit = TODO()
    }
}
