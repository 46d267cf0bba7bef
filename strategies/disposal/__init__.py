"""Disposable transfer learning: methods that remove what was learned on the source and keep the target."""
