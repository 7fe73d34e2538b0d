-- SHA-256 of what the browser that brought the answer was told: whoever opens it has to bring that, too, and be whose
-- import it is. Else who lets another person answer under a session id of her own would read that person's results. Null
-- once it was opened; of before, all were.
ALTER TABLE emrex_import ADD COLUMN arrival_hash bytea CHECK (length(arrival_hash) = 32);
