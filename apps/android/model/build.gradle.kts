// The model's files as an install-time asset pack: Google Play delivers them with the app, apart from its code, so the
// size limit of the app itself does not count them.
plugins { alias(libs.plugins.android.asset.pack) }

assetPack {
    packName.set("model")
    dynamicDelivery { deliveryType.set("install-time") }
}
