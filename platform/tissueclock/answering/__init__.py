"""From a patient's images to an answer that a reader can challenge."""
