import PhantomARCore
import SwiftUI
import UIKit

/// The stage above the panel; beside it where the window is wider than tall. Over both, at the first start, the welcome.
struct MainView: View {
    @State private var app: AppModel
    @State private var sources: Sources
    @State private var showsInfo = false
    @State private var welcomes = Launch.welcomes
    @Environment(\.scenePhase) private var phase

    init(app: AppModel) {
        _app = State(initialValue: app)
        _sources = State(initialValue: Sources(app))
    }

    var body: some View {
        ZStack {
            asking
            if welcomes {
                WelcomeView(
                    title: app.config.title, knows: Launch.knows,
                    useCamera: { welcomed { await sources.open() } },
                    usePicture: { item in welcomed { await sources.show(item) } })
            }
        }
        .tint(Theme.accent)
        .preferredColorScheme(.dark)
        .sheet(isPresented: $showsInfo) { InfoView(app: app) }
        .task { await app.loadModel() }
        .task { if !welcomes { await sources.open() } }
        .onChange(of: phase) { _, now in app.setAway(now != .active) }
        .onChange(of: app.announcement) { _, words in AccessibilityNotification.Announcement(words).post() }
        .onReceive(NotificationCenter.default.publisher(for: UIApplication.didReceiveMemoryWarningNotification)) { _ in
            Task { await app.memoryWarning() }
        }
    }

    private var asking: some View {
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
        .accessibilityHidden(welcomes)
    }

    /// Goes on from the first screen, which does not come again.
    private func welcomed(_ open: @escaping () async -> Void) {
        Launch.hasWelcomed()
        welcomes = false
        Task { await open() }
    }
}
