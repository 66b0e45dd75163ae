#if canImport(CoreML)
    import CoreML
    import Foundation
    import PhantomEdgeCore

    /// Packages compiled for this device, kept among the app's caches under the digests of what they were made from.
    enum CompiledModels {
        static func url(of graph: Graph, in bundle: ModelBundle) async throws -> URL {
            let package = try bundle.url(of: graph)
            let folder = try FileManager.default
                .url(for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
                .appendingPathComponent("PhantomEdge", isDirectory: true)
            let final = folder.appendingPathComponent("\(graph.rawValue)-\(key(of: graph, in: bundle)).mlmodelc")
            if FileManager.default.fileExists(atPath: final.path) { return final }
            do {
                let compiled = try await MLModel.compileModel(at: package)
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                _ = try FileManager.default.replaceItemAt(final, withItemAt: compiled)
                return final
            } catch {
                throw PhantomEdgeError.runtime(
                    "Core ML does not compile \(graph.rawValue): \(error.localizedDescription)")
            }
        }

        /// Names of a model's functions; none for a model of one function.
        static func functions(of model: URL?) async throws -> Set<String> {
            guard let model else { return [] }
            do {
                return Set(try await MLModelAsset(url: model).functionNames)
            } catch {
                throw PhantomEdgeError.runtime("Core ML does not open the decoder: \(error.localizedDescription)")
            }
        }

        private static func key(of graph: Graph, in bundle: ModelBundle) -> String {
            let path = bundle.manifest.graphs[graph] + "/"
            return bundle.manifest.files.filter { $0.key.hasPrefix(path) }.sorted { $0.key < $1.key }
                .map { String($0.value.sha256.prefix(16)) }.joined(separator: "-")
        }
    }
#endif
