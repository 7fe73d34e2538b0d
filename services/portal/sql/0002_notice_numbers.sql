-- `notices` tells a fetch that began before the newest notice. Counted for each row it began anew when a learner
-- withdrew and registered again, and an answer from between could pass for the newest: so numbers are never reused.
CREATE SEQUENCE notice_number;
SELECT setval('notice_number', (SELECT coalesce(max(notices), 0) + 1 FROM credential));
ALTER TABLE credential ALTER COLUMN notices SET DEFAULT nextval('notice_number');
