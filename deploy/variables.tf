variable "region" {
  description = "AWS region"
  type        = string
}

variable "name" {
  description = "first part of every name, for a second installation in the same account"
  type        = string
  default     = "impress"

  validation {
    # What ECR, RDS, IAM and SSM all accept.
    condition     = can(regex("^[a-z](-?[a-z0-9]){1,31}$", var.name))
    error_message = "name: 2 to 32 lower-case letters, digits and single hyphens, beginning with a letter."
  }
}

variable "tags" {
  description = "tags of everything, besides Application"
  type        = map(string)
  default     = {}
}

variable "alarm_email" {
  description = "address that is notified of failures; AWS asks it for confirmation"
  type        = string
}

variable "environment" {
  description = "settings that are not secret, named as in src/settings.py; omitted ones are not set"
  type        = map(string)

  validation {
    condition     = alltrue([for name in keys(var.environment) : contains(keys(local.not_set), name)])
    error_message = "environment: the names are ${join(", ", keys(local.not_set))}; secrets go to SSM."
  }
  validation {
    condition     = var.create_database != (lookup(var.environment, "DB_HOSTNAME", "") != "")
    error_message = "Either create_database, or name an existing database: environment.DB_HOSTNAME."
  }
  validation {
    condition     = lookup(var.environment, "SMTP_PORT", "") != "25"
    error_message = "environment.SMTP_PORT: AWS blocks port 25; mail servers take 587, or 465 with SMTP_SECURITY = tls."
  }
  validation {
    condition     = !var.pages || !contains(keys(var.environment), "PAGE_TARGET")
    error_message = "environment.PAGE_TARGET: with pages = true it is the bucket that is created; omit one of the two."
  }
}

variable "secrets" {
  description = "names of the secrets passed to the tasks; omit those that you do not use"
  type        = set(string)
  default = [
    "DB_USERNAME",
    "DB_PASSWORD",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "DVC_USERNAME",
    "DVC_TOKEN",
    "EMAIL_PASS",
    "PREFECT_CLOUD_API_TOKEN",
    "PREFECT_API_KEY",
  ]

  validation {
    condition = length(setsubtract(var.secrets, [
      "DB_USERNAME", "DB_PASSWORD", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "DVC_USERNAME",
      "DVC_TOKEN", "EMAIL_PASS", "PREFECT_CLOUD_API_TOKEN", "PREFECT_API_KEY",
    ])) == 0
    error_message = "secrets: the code reads no such secret; the names are in variables.tf."
  }
}

variable "kms_key_arn" {
  description = "a key of yours for the secrets; without it everybody who may read parameters can read them"
  type        = string
  default     = null
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflow may push images"
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.github_repository))
    error_message = "github_repository is OWNER/NAME, such as example/impress."
  }
}

variable "github_ids" {
  description = "ids of owner and repository, for repositories created, renamed or transferred since 15 July 2026"
  type        = object({ owner = number, repository = number })
  default     = null
}

variable "github_branch" {
  description = "branch whose workflow may push images"
  type        = string
  default     = "main"
}

variable "github_oidc_provider_arn" {
  description = "GitHub's identity provider, if the account already has it: there can be only one"
  type        = string
  default     = null
}

variable "schedules" {
  description = "when the tasks start, in time_zone, if not as in local.schedules"
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.schedules), local.tasks)) == 0
    error_message = "schedules: the tasks are ${join(", ", local.tasks)}."
  }
  validation {
    condition = alltrue([
      for expression in values(var.schedules) : can(regex(
        "^(cron\\((\\S+ ){2}(\\? \\S+ \\S+|\\S+ \\S+ \\?) \\S+\\)|rate\\(\\d+ (minutes?|hours?|days?)\\)|at\\(.+\\))$",
        expression,
      ))
    ])
    error_message = "schedules: write cron(minute hour day month weekday year) with ? for day or weekday, or rate(7 days)."
  }
}

variable "time_zone" {
  description = "IANA name of the time zone of the schedules"
  type        = string
  default     = "Europe/Berlin"

  validation {
    condition     = can(regex("^(UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$", var.time_zone))
    error_message = "time_zone: an IANA name such as Europe/Berlin or UTC."
  }
}

variable "good_run_within_days" {
  description = "maximum age of the last good run; checked every twelve hours"
  type        = map(number)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.good_run_within_days), local.tasks)) == 0
    error_message = "good_run_within_days: the tasks are ${join(", ", local.tasks)}."
  }
  validation {
    condition     = alltrue([for days in values(var.good_run_within_days) : days >= 1 && floor(days) == days])
    error_message = "good_run_within_days: whole days."
  }
}

# Measured with MLflow: predict took 410 MB and 5 s of a core for 1,200 phases, monitor 510 MB and 12 s
# for a report on the same number, a check 260 MB and 3 s. So 512 MB would be too little, and the smallest
# CPU size turns 5 s of a core into 20.
variable "sizes" {
  description = "CPU units (1024 are one core) and memory in MB, if not as in local.sizes"
  type        = map(object({ cpu = number, memory = number }))
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.sizes), local.tasks)) == 0
    error_message = "sizes: the tasks are ${join(", ", local.tasks)}."
  }
  validation {
    condition = alltrue([
      for size in values(var.sizes) : contains(lookup(local.fargate, tostring(size.cpu), []), size.memory)
    ])
    error_message = "sizes: Fargate has 256 units with 512, 1024 or 2048 MB; 512 with 1 to 4 GB; 1024 with 2 to 8 GB; 2048 with 4 to 16 GB; 4096 with 8 to 30 GB, in steps of 1024 MB."
  }
}

locals {
  schedules = merge({
    predict = "cron(0 6 ? * MON *)"
    monitor = "cron(0 8 1 * ? *)"
  }, var.schedules)
  good_run_within_days = merge({
    predict = 8
    monitor = 33
  }, var.good_run_within_days)
  sizes = merge({
    predict = { cpu = 256, memory = 1024 }
    monitor = { cpu = 512, memory = 1024 }
  }, var.sizes)
  # Memory in MB that goes with CPU units.
  fargate = {
    256  = [512, 1024, 2048]
    512  = [for gigabytes in range(1, 5) : 1024 * gigabytes]
    1024 = [for gigabytes in range(2, 9) : 1024 * gigabytes]
    2048 = [for gigabytes in range(4, 17) : 1024 * gigabytes]
    4096 = [for gigabytes in range(8, 31) : 1024 * gigabytes]
  }
}

variable "log_days" {
  description = "how long logs are kept"
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_days)
    error_message = "log_days: CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 days or certain numbers of years."
  }
}

variable "container_insights" {
  description = "measure CPU and memory of the tasks in CloudWatch; costs about as much as everything else here"
  type        = bool
  default     = false
}

variable "network" {
  description = "an existing network; without it one is created. public: its task subnets have no NAT"
  type = object({
    vpc_id           = string
    task_subnets     = list(string)
    database_subnets = optional(list(string), [])
    public           = optional(bool, false)
  })
  default = null

  validation {
    condition     = var.network == null || !var.create_database || try(length(var.network.database_subnets), 0) >= 2
    error_message = "network.database_subnets: create_database needs subnets in two availability zones of this network."
  }
}

variable "database_cidr" {
  description = "address of an existing database, such as 203.0.113.7/32: the tasks may call no other"
  type        = string
  default     = null

  validation {
    condition     = var.create_database || var.database_cidr != null
    error_message = "database_cidr: the tasks have no other outbound access and must be allowed to reach the database."
  }
}

variable "create_database" {
  description = "create a PostgreSQL on RDS, with a generated password that nobody sees"
  type        = bool
  default     = false
}

variable "database" {
  description = "size and version of that PostgreSQL; storage in GB"
  type = object({
    class            = optional(string, "db.t4g.micro")
    storage          = optional(number, 20)
    version          = optional(string, "18")
    backup_days      = optional(number, 14)
    password_version = optional(number, 1)
  })
  default = {}

  validation {
    condition     = can(regex("^[0-9]+$", var.database.version))
    error_message = "database.version: the major version alone, such as 18; AWS keeps the minor version up to date."
  }
}
