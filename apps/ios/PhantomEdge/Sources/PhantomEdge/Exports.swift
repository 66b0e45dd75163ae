// One import gives an app the whole library.
@_exported import PhantomEdgeCore
