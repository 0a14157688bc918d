-- What is asked of, and made anew in, some hours or days.
CREATE INDEX rollups_by_start ON rollups (window_width_seconds, window_start_seconds, model);
CREATE INDEX rollups_by_device ON rollups (device);
CREATE INDEX touched_by_start ON touched (width_seconds, start_seconds);
CREATE INDEX touched_by_device ON touched (device);
-- The few cells that no hour's row holds, beside the many that one does.
CREATE INDEX wide_cells ON cells (window_start_seconds) WHERE window_width_seconds > 3600;
