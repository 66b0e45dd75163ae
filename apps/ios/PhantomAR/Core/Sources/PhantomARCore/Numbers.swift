import Foundation

/// Numbers as people read them.
public enum Numbers {
    public static func seconds(_ value: Double) -> String {
        value < 9.95 ? String(format: "%.2f s", value) : "\(Int(value.rounded())) s"
    }

    public static func megabytes(_ bytes: Int) -> String {
        let size = Double(bytes) / 1e6
        return size < 9.95 ? String(format: "%.1f MB", size) : "\(Int(size.rounded())) MB"
    }

    public static func perSecond(_ rate: Double) -> String {
        rate < 9.95 ? String(format: "%.1f tok/s", rate) : "\(Int(rate.rounded())) tok/s"
    }

    public static func measured(_ value: Double) -> String { String(format: "%.2g", value) }
}
