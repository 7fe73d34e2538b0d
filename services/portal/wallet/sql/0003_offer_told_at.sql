-- When what the newest notice told of the credential happened, as it was offered: a withdrawal from then on ends the offer,
-- however late it is read and whatever the clocks say. Of rows of before, and of releases of before, only the offer's own
-- instant is known.
ALTER TABLE wallet_offer ADD COLUMN told_at timestamptz;
