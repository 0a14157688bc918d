"""Labels down to devices, confirmed end to end."""

from edgemse.labels.conversation import LabelConversation, Refusal
from edgemse.labels.rows import LabelRoles, Labels, read_labels
from edgemse.labels.sender import LabelSender

__all__ = ["LabelConversation", "LabelRoles", "LabelSender", "Labels", "Refusal", "read_labels"]
