import Foundation

#if canImport(CryptoKit)
    import CryptoKit
#endif

/// SHA-256 of a file's contents, read in pieces.
enum FileDigest {
    private static let piece = 1 << 20

    /// Lower-case hex. Throws what Foundation throws for a file that cannot be read.
    static func sha256(of file: URL) throws -> String {
        let handle = try FileHandle(forReadingFrom: file)
        defer { try? handle.close() }
        #if canImport(CryptoKit)
            var hash = CryptoKit.SHA256()
        #else
            var hash = PortableSHA256()
        #endif
        while let data = try handle.read(upToCount: piece), !data.isEmpty {
            hash.update(data: data)
        }
        return hash.finalize().map { hex[Int($0 >> 4)] + hex[Int($0 & 15)] }.joined()
    }

    private static let hex = "0123456789abcdef".map(String.init)
}
