import PhantomARCore
import SwiftUI
import UIKit

/// The stage above the panel; beside it where the window is wider than tall.
struct MainView: View {
    @State private var app: AppModel
    @State private var sources: Sources
    @State private var showsInfo = false
    @Environment(\.scenePhase) private var phase

    init(app: AppModel) {
        _app = State(initialValue: app)
        _sources = State(initialValue: Sources(app))
    }

    var body: some View {
        GeometryReader { window in
            let isWide = window.size.width > window.size.height
            let layout = isWide ? AnyLayout(HStackLayout(spacing: 0)) : AnyLayout(VStackLayout(spacing: 0))
            layout {
                StageView(app: app, sources: sources, showInfo: { showsInfo = true })
                PanelView(app: app, isWide: isWide)
                    .dynamicTypeSize(...DynamicTypeSize.accessibility2)  // leaves the picture half of the screen
                    .frame(width: isWide ? min(372, window.size.width * 0.36) : nil)
            }
        }
        .background(Theme.ground.ignoresSafeArea())
        .foregroundStyle(Theme.ink)
        .tint(Theme.accent)
        .preferredColorScheme(.dark)
        .sheet(isPresented: $showsInfo) { InfoView(app: app) }
        .task { await app.loadModel() }
        .task { await sources.open() }
        .onChange(of: phase) { _, now in app.setAway(now != .active) }
        .onChange(of: app.announcement) { _, words in AccessibilityNotification.Announcement(words).post() }
        .onReceive(NotificationCenter.default.publisher(for: UIApplication.didReceiveMemoryWarningNotification)) { _ in
            Task { await app.memoryWarning() }
        }
    }
}
