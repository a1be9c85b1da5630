//! Meters that are asked instead of listened to.
