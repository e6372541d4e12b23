package view

// NewestMigration is for the test that compares it with the files.
const NewestMigration int64 = newestMigration
