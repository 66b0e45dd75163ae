package phantom.edge.ar

import android.opengl.GLES11Ext
import android.opengl.GLES20
import com.google.ar.core.Coordinates2d
import com.google.ar.core.Frame
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/** Draws what the camera sees behind everything else. */
class CameraBackground {
    var texture = 0
        private set

    private var program = 0
    private val corners = buffer(-1f, -1f, 1f, -1f, -1f, 1f, 1f, 1f)
    private val places = buffer(0f, 0f, 0f, 0f, 0f, 0f, 0f, 0f)

    /** For the OpenGL context of now. */
    fun create() {
        texture = IntArray(1).also { GLES20.glGenTextures(1, it, 0) }[0]
        GLES20.glBindTexture(GLES11Ext.GL_TEXTURE_EXTERNAL_OES, texture)
        for ((name, value) in PARAMETERS) GLES20.glTexParameteri(GLES11Ext.GL_TEXTURE_EXTERNAL_OES, name, value)
        program = GLES20.glCreateProgram()
        GLES20.glAttachShader(program, shader(GLES20.GL_VERTEX_SHADER, VERTEX))
        GLES20.glAttachShader(program, shader(GLES20.GL_FRAGMENT_SHADER, FRAGMENT))
        GLES20.glLinkProgram(program)
    }

    fun draw(frame: Frame) {
        if (frame.timestamp == 0L) return // the camera has given nothing yet
        if (frame.hasDisplayGeometryChanged()) {
            frame.transformCoordinates2d(
                Coordinates2d.OPENGL_NORMALIZED_DEVICE_COORDINATES,
                corners.rewound(),
                Coordinates2d.TEXTURE_NORMALIZED,
                places.rewound(),
            )
        }
        GLES20.glDisable(GLES20.GL_DEPTH_TEST)
        GLES20.glDepthMask(false)
        GLES20.glActiveTexture(GLES20.GL_TEXTURE0)
        GLES20.glBindTexture(GLES11Ext.GL_TEXTURE_EXTERNAL_OES, texture)
        GLES20.glUseProgram(program)
        attribute("corner", corners)
        attribute("place", places)
        GLES20.glDrawArrays(GLES20.GL_TRIANGLE_STRIP, 0, 4)
        GLES20.glDepthMask(true)
        GLES20.glEnable(GLES20.GL_DEPTH_TEST)
    }

    private fun attribute(name: String, values: FloatBuffer) {
        val at = GLES20.glGetAttribLocation(program, name)
        GLES20.glVertexAttribPointer(at, 2, GLES20.GL_FLOAT, false, 0, values.rewound())
        GLES20.glEnableVertexAttribArray(at)
    }

    private fun shader(kind: Int, text: String): Int =
        GLES20.glCreateShader(kind).also {
            GLES20.glShaderSource(it, text)
            GLES20.glCompileShader(it)
        }

    private fun FloatBuffer.rewound(): FloatBuffer = also { it.rewind() }

    private companion object {
        val PARAMETERS =
            mapOf(
                GLES20.GL_TEXTURE_WRAP_S to GLES20.GL_CLAMP_TO_EDGE,
                GLES20.GL_TEXTURE_WRAP_T to GLES20.GL_CLAMP_TO_EDGE,
                GLES20.GL_TEXTURE_MIN_FILTER to GLES20.GL_LINEAR,
                GLES20.GL_TEXTURE_MAG_FILTER to GLES20.GL_LINEAR,
            )

        const val VERTEX =
            """
            attribute vec2 corner;
            attribute vec2 place;
            varying vec2 at;
            void main() {
                gl_Position = vec4(corner, 0.0, 1.0);
                at = place;
            }
            """

        // The extension must come first, so this text has no line before it.
        const val FRAGMENT =
            "#extension GL_OES_EGL_image_external : require\n" +
                "precision mediump float;\n" +
                "uniform samplerExternalOES picture;\n" +
                "varying vec2 at;\n" +
                "void main() { gl_FragColor = texture2D(picture, at); }\n"

        fun buffer(vararg values: Float): FloatBuffer =
            ByteBuffer.allocateDirect(4 * values.size).order(ByteOrder.nativeOrder()).asFloatBuffer().put(values)
    }
}
