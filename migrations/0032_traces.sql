-- Where the trace of whoever told a signal goes on, in the form of W3C Trace Context: the turn that takes
-- the signal up runs later, perhaps in another process. Nothing where nobody traces.
ALTER TABLE signals
    ADD COLUMN trace text,
    ADD CONSTRAINT signals_trace_check CHECK (trace ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
