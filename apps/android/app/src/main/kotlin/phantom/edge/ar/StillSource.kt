package phantom.edge.ar

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.widget.ImageView
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.Framing
import phantom.edge.ar.core.PixelRect
import phantom.edge.ar.core.Size
import phantom.edge.ar.core.SourceKind
import phantom.edge.core.RgbImage
import phantom.edge.of

/** One picture, upright. */
class StillSource(context: Context, private val bitmap: Bitmap, stage: Stage, model: AppModel) :
    FlatSource(stage, model) {
    override val kind = SourceKind.PICTURE
    override val isStill = true
    override val view =
        ImageView(context).apply {
            scaleType = ImageView.ScaleType.FIT_CENTER
            setImageBitmap(bitmap)
            contentDescription = context.getString(R.string.stage)
        }

    override fun framing(stage: Size) =
        Framing(stage, Size(bitmap.width.toDouble(), bitmap.height.toDouble()), Framing.Fit.CONTAIN)

    override suspend fun cut(framing: Framing, part: PixelRect): RgbImage =
        RgbImage.of(Bitmap.createBitmap(bitmap, part.x, part.y, part.width, part.height))

    companion object {
        /** What the stand-in engine looks at: a drawn scene, so that the app runs where there is no camera. */
        fun drawnScene(): Bitmap {
            val bitmap = Bitmap.createBitmap(720, 960, Bitmap.Config.ARGB_8888)
            val canvas = Canvas(bitmap)
            val paint = Paint(Paint.ANTI_ALIAS_FLAG)
            canvas.drawColor(Color.rgb(209, 209, 209))
            paint.color = Color.rgb(199, 51, 46)
            canvas.drawRect(160f, 240f, 460f, 540f, paint)
            paint.color = Color.rgb(38, 89, 191)
            canvas.drawCircle(525f, 675f, 95f, paint)
            return bitmap
        }
    }
}
