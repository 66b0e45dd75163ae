// The part of ExecuTorch 1.5's Android API that the library uses, to type-check it where there is no AAR. Nothing here
// runs.
@file:Suppress("unused", "UNUSED_PARAMETER")

package org.pytorch.executorch

open class Module private constructor() : java.io.Closeable {
    open fun execute(methodName: String, vararg inputs: EValue): Array<EValue> = TODO()

    open fun loadMethod(methodName: String?): Unit = TODO()

    open fun destroy(): Unit = TODO()

    override fun close(): Unit = TODO()

    companion object {
        const val LOAD_MODE_MMAP = 1

        @JvmStatic
        @JvmOverloads
        fun load(modelPath: String?, loadMode: Int = 0, numThreads: Int = 0): Module = TODO()
    }
}

class EValue private constructor() {
    fun toTensor(): Tensor = TODO()

    companion object {
        @JvmStatic
        fun from(tensor: Tensor): EValue = TODO()
    }
}

abstract class Tensor {
    open val dataAsFloatArray: FloatArray get() = TODO()

    companion object {
        @JvmStatic
        fun fromBlob(data: FloatArray, shape: LongArray): Tensor = TODO()

        @JvmStatic
        fun fromBlob(data: LongArray, shape: LongArray): Tensor = TODO()
    }
}
