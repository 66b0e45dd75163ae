#if canImport(CoreML)
    import CoreML
    import Foundation
    import PhantomEdgeCore

    /// Which of a device's processors the graphs may use. Core ML chooses among them, op by op.
    public struct CoreMLOptions: Sendable {
        public var vision: MLComputeUnits
        public var decoder: MLComputeUnits

        /// Integer weights in groups suit the GPU; the Neural Engine is known to lose accuracy on them. Which choice is
        /// fastest and right on a device is what `PhantomSession.selfTest` and `Timing` tell.
        public init(vision: MLComputeUnits = .all, decoder: MLComputeUnits = .cpuAndGPU) {
            (self.vision, self.decoder) = (vision, decoder)
        }
    }

    /// A bundle's packages in Core ML: the KV cache as state, prefill and decode as functions of one decoder.
    ///
    /// Predictions block their thread, so the actor has a queue of its own. Any number of caches may be alive.
    public actor CoreMLBackend: Backend {
        private final class Cache: DecoderCache, @unchecked Sendable {
            let state: MLState  // only touched on the backend's queue
            init(_ state: MLState) { self.state = state }
        }

        public nonisolated let name: String
        private let manifest: Manifest
        private let compiled: [Graph: URL]
        private let options: CoreMLOptions
        /// Whether the decoder has functions of fixed lengths beside the one of any length.
        private let hasFixedLengths: Bool
        private var models: [String: MLModel] = [:]

        #if canImport(Darwin)
            private let queue = DispatchSerialQueue(label: "phantom-edge.coreml", qos: .userInitiated)
            public nonisolated var unownedExecutor: UnownedSerialExecutor { queue.asUnownedSerialExecutor() }
            private var pressure: (any DispatchSourceMemoryPressure)?
        #endif

        /// Compiles the packages, once for each bundle and device; that takes some seconds. Throws
        /// `PhantomEdgeError.runtime` when Core ML refuses one.
        public init(_ bundle: ModelBundle, options: CoreMLOptions = CoreMLOptions()) async throws {
            guard bundle.manifest.format == "coreml" else {
                throw PhantomEdgeError.bundle(
                    "the bundle's format is \(bundle.manifest.format), not coreml: export with `--target ios`")
            }
            var compiled: [Graph: URL] = [:]
            for graph in Graph.allCases { compiled[graph] = try await CompiledModels.url(of: graph, in: bundle) }
            (manifest, self.compiled, self.options) = (bundle.manifest, compiled, options)
            hasFixedLengths = try await CompiledModels.functions(of: compiled[.textDecoder])
                .isSuperset(of: ["prefill", "decode"])
            name = "Core ML" + (hasFixedLengths ? "" : " (flexible lengths)")
            #if canImport(Darwin)
                watchMemory()
            #endif
        }

        public func encode(tile: [Float]) throws -> [Float] {
            let size = try manifest.tileSize(ofValues: tile.count).size
            let model = try visionEncoder(size)
            let pixels = try tensor(tile, [1, 3, size, size], "pixel_values", of: model)
            return try run(model, ["pixel_values": pixels], "image_features")
        }

        public func embed(_ ids: [Int]) throws -> [Float] {
            guard ids.allSatisfy({ (0..<manifest.shape.vocabulary).contains($0) }) else {
                throw PhantomEdgeError.input("an id lies outside the vocabulary of \(manifest.shape.vocabulary)")
            }
            let input = MLMultiArray(MLShapedArray<Int32>(scalars: ids.map(Int32.init), shape: [1, ids.count]))
            return try run(model(.tokenEmbedding), ["input_ids": input], "inputs_embeds")
        }

        public func makeCache() throws -> any DecoderCache {
            Cache(try model(.textDecoder, hasFixedLengths ? "decode" : nil).makeState())
        }

        public func decode(_ embeddings: [Float], at position: Int, cache: any DecoderCache) throws -> [Float] {
            let hidden = manifest.shape.hidden
            let rows = embeddings.count / hidden
            guard let cache = cache as? Cache, (1...manifest.chunk).contains(rows), embeddings.count == rows * hidden,
                position >= 0, position + rows <= manifest.context
            else {
                throw PhantomEdgeError.input("\(rows) tokens at \(position) are no call that this decoder takes")
            }
            guard hasFixedLengths else { return try step(nil, embeddings, position..<position + rows, cache) }
            if rows == 1 { return try step("decode", embeddings, position..<position + 1, cache) }
            if position + manifest.chunk <= manifest.context {
                return try step("prefill", embeddings, position..<position + rows, cache, length: manifest.chunk)
            }
            // A whole chunk would run past the end of the context.
            var logits: [Float] = []
            for row in 0..<rows {
                let one = Array(embeddings[row * hidden..<(row + 1) * hidden])
                logits = try step("decode", one, position + row..<position + row + 1, cache)
            }
            return logits
        }

        /// Unloads the vision encoder and the prefill function; the next call loads them again.
        public func trim() {
            unloadVisionEncoders()
            models[key(.textDecoder, "prefill")] = nil
        }

        /// Loads every function now instead of at its first call; of the vision encoders that for tiles of `tileSize`, nil
        /// for the bundle's default.
        public func prepare(tileSize: Int? = nil) throws {
            _ = try visionEncoder(manifest.tileSize(tileSize ?? manifest.tiles.size).size)
            _ = try model(.tokenEmbedding)
            for function in hasFixedLengths ? ["prefill", "decode"] : [nil] { _ = try model(.textDecoder, function) }
        }

        /// One call of a decoder function. A function of a fixed `length` is filled up with the last embedding at the
        /// last position: each of them computes what the last one does, and what they leave in the cache beyond the end
        /// is out of sight until the next call writes over it.
        private func step(
            _ function: String?, _ embeddings: [Float], _ positions: Range<Int>, _ cache: Cache, length: Int? = nil
        ) throws -> [Float] {
            let hidden = manifest.shape.hidden
            let count = length ?? positions.count
            let missing = count - positions.count
            let last = embeddings.suffix(hidden)
            let rows = embeddings + (0..<missing).flatMap { _ in last }
            let places = Array(positions) + [Int](repeating: positions.upperBound - 1, count: missing)
            let model = try model(.textDecoder, function)
            let inputs = [
                "inputs_embeds": try tensor(rows, [1, count, hidden], "inputs_embeds", of: model),
                "position_ids": MLMultiArray(MLShapedArray<Int32>(scalars: places.map(Int32.init), shape: [count])),
            ]
            return try run(model, inputs, "logits", cache.state)
        }

        /// The vision encoder for tiles of that size, instead of that for another.
        private func visionEncoder(_ size: Int) throws -> MLModel {
            let function = size == manifest.tiles.size ? nil : "\(Graph.visionEncoder.rawValue)_\(size)"
            if models[key(.visionEncoder, function)] == nil { unloadVisionEncoders() }
            return try model(.visionEncoder, function)
        }

        private func unloadVisionEncoders() {
            models = models.filter { !$0.key.hasPrefix(Graph.visionEncoder.rawValue) }
        }

        private func key(_ graph: Graph, _ function: String?) -> String {
            graph.rawValue + (function.map { "." + $0 } ?? "")
        }

        private func model(_ graph: Graph, _ function: String? = nil) throws -> MLModel {
            if let loaded = models[key(graph, function)] { return loaded }
            guard let url = compiled[graph] else { throw PhantomEdgeError.runtime("\(graph.rawValue) is not compiled") }
            let configuration = MLModelConfiguration()
            configuration.computeUnits = graph == .visionEncoder ? options.vision : options.decoder
            configuration.functionName = function
            do {
                let model = try MLModel(contentsOf: url, configuration: configuration)
                models[key(graph, function)] = model
                return model
            } catch {
                throw PhantomEdgeError.runtime("Core ML does not load \(graph.rawValue): \(error.localizedDescription)")
            }
        }

        /// Floats in the type that the model declares for an input.
        private func tensor(_ values: [Float], _ shape: [Int], _ input: String, of model: MLModel) throws
            -> MLMultiArray
        {
            let array = MLMultiArray(MLShapedArray<Float>(scalars: values, shape: shape))
            let type = model.modelDescription.inputDescriptionsByName[input]?.multiArrayConstraint?.dataType
            guard let type, type != .float32 else { return array }
            return MLMultiArray(concatenating: [array], axis: 0, dataType: type)
        }

        private func run(
            _ model: MLModel, _ inputs: [String: MLMultiArray], _ output: String, _ state: MLState? = nil
        ) throws -> [Float] {
            do {
                let features = try MLDictionaryFeatureProvider(
                    dictionary: inputs.mapValues { MLFeatureValue(multiArray: $0) })
                let results =
                    if let state {
                        try model.prediction(from: features, using: state)
                    } else {
                        try model.prediction(from: features)
                    }
                guard let array = results.featureValue(for: output)?.multiArrayValue else {
                    throw PhantomEdgeError.runtime("the model gives no \(output): export the bundle again")
                }
                return MLShapedArray<Float>(converting: array).scalars
            } catch let error as PhantomEdgeError {
                throw error
            } catch {
                throw PhantomEdgeError.runtime("Core ML does not run: \(error.localizedDescription)")
            }
        }

        #if canImport(Darwin)
            private func watchMemory() {
                let source = DispatchSource.makeMemoryPressureSource(eventMask: [.warning, .critical], queue: queue)
                source.setEventHandler { [weak self] in
                    guard let self else { return }
                    Task { await self.trim() }
                }
                source.activate()
                pressure = source
            }

            deinit { pressure?.cancel() }
        #endif
    }
#endif
