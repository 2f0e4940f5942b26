"""What we ask of Supabase: a dependency of the app, not a place we act on."""
