-- A view's expression over a masked column is masked as a whole.
CREATE OR REPLACE VIEW contact_list AS SELECT c.id, '***'::text AS contact, c.phone FROM customers c;
