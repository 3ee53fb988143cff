"""Words of the engine's desk for the view (`volume.view`)."""

VIEW_STATUS = "view-status"
VIEW_REBUILD = "view-rebuild"
VIEW_CHANGE = "view-change"
VIEW_LOOK = "view-look"
VIEW_ACCEPT = "view-accept"
