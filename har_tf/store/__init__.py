"""One resumable store on disk: prepared clips, features and flow."""
