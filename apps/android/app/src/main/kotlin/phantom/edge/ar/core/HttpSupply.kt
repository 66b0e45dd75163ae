package phantom.edge.ar.core

import java.io.IOException
import java.net.HttpURLConnection
import java.net.URI
import java.net.URISyntaxException
import phantom.edge.core.FileSupply

/** A bundle's folder on a web server: `https`, and `http` to this machine alone. */
class HttpSupply(address: String) : FileSupply {
    private val base = parsed(if (address.endsWith("/")) address else "$address/")

    private fun parsed(address: String): URI {
        val base =
            try {
                URI(address)
            } catch (error: URISyntaxException) {
                throw Failure(Failure.Code.NETWORK, "The model's address is none: ${error.reason}.")
            }
        val isHere = base.host == "localhost" || base.host == "127.0.0.1"
        if (base.scheme == "https" || (base.scheme == "http" && isHere)) return base
        throw Failure(Failure.Code.NETWORK, "The model's address must begin with https://.")
    }

    override fun open(name: String, from: Long): FileSupply.Part {
        val address = base.resolve(URI(null, null, name, null)).toURL()
        val connection = address.openConnection() as HttpURLConnection
        connection.connectTimeout = TIMEOUT
        connection.readTimeout = TIMEOUT
        connection.setRequestProperty("Accept-Encoding", "identity")
        if (from > 0) connection.setRequestProperty("Range", "bytes=$from-")
        val status = connection.responseCode
        // A server that knows no ranges sends everything.
        val start = if (status == HttpURLConnection.HTTP_PARTIAL) from else 0
        if (status != HttpURLConnection.HTTP_OK && status != HttpURLConnection.HTTP_PARTIAL) {
            connection.disconnect()
            throw IOException("the server answers $status")
        }
        return FileSupply.Part(connection.inputStream, start)
    }

    private companion object {
        const val TIMEOUT = 30_000 // milliseconds
    }
}
