package phantom.edge.ar

import android.content.Context
import android.content.res.AssetManager
import java.io.IOException
import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject
import phantom.edge.ar.core.AppConfig
import phantom.edge.ar.core.TileSizeStore

/** `app.json` among the app's assets. */
object Settings {
    /** Throws a `Failure` that names what is wrong. */
    fun read(assets: AssetManager): AppConfig =
        try {
            val json = JSONObject(assets.open("app.json").use { it.readBytes().decodeToString() })
            AppConfig.of(members(json))
        } catch (error: IOException) {
            throw AppConfig.wrong("it is missing")
        } catch (error: JSONException) {
            throw AppConfig.wrong(error.message ?: "it is not JSON")
        }

    private fun members(json: JSONObject): Map<String, Any?> = json.keys().asSequence().associateWith { plain(json.get(it)) }

    private fun plain(value: Any?): Any? =
        when (value) {
            is JSONObject -> members(value)
            is JSONArray -> List(value.length()) { plain(value.get(it)) }
            JSONObject.NULL -> null
            else -> value
        }
}

/** The chosen picture detail among the app's preferences. */
class StoredTileSize(context: Context) : TileSizeStore {
    private val preferences = context.getSharedPreferences("settings", Context.MODE_PRIVATE)

    override fun read(): Int? = preferences.getInt(KEY, 0).takeIf { it > 0 }

    override fun write(size: Int) = preferences.edit().putInt(KEY, size).apply()

    private companion object {
        const val KEY = "tile_size"
    }
}
