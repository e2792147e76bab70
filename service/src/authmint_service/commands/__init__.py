"""The commands about people and clients. Wiring is short here: each opens a store, does one thing, and says what it did."""
