"""Probes carried out: trials one after another or together, their anchors, what they gave."""
