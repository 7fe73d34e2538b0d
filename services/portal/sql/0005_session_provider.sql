-- Whom she logged in with, and is logged out at. Those of before had no choice.
ALTER TABLE session ADD COLUMN provider text NOT NULL DEFAULT 'id-porten';
